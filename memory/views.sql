-- The documented views of `nightshift query`. Stable: columns may be added, none renamed or removed.
-- `trial` is the number within a campaign (0 is the baseline), `campaign` the tag; times of day are UTC.

CREATE TEMP VIEW campaigns AS
SELECT
    tag AS campaign, branch, proposer, lineage, seed, keep_rule, isolation,
    (SELECT seq FROM raw.trials t WHERE t.trial_id = c.incumbent_trial_id) AS incumbent,
    (SELECT count(*) FROM raw.trials t WHERE t.campaign_id = c.campaign_id AND t.phase = 'decided' AND t.kind = 'search') AS trials,
    baseline_commit, head_commit, stop_reason, final, created_at, ended_at, task, limits, versions, hardware, hardware_fingerprint,
    corpus_sha256, fallback, state, state_reason, active_s, joules, source, campaign_id
FROM raw.campaigns c
ORDER BY created_at, campaign_id;

CREATE TEMP VIEW trials AS
SELECT
    t.seq AS trial, t.status, t.edit_key AS edit, t.metric, t.gain, t.gain_low, t.gain_high, t.p_improve,
    t.n_measurements AS measurements, t.reason, t.hypothesis, t.rationale, t.expected_delta,
    t.edit->>'$.knob' AS knob, t.edit->>'$.value' AS value, t.lesson,
    p.seq AS parent, t.kind, t.phase, t.attempt, t.repairs, t.proposer, t.specialist, t.domain,
    t.propose_s, t.train_s, t.score_s, t.total_s, t.joules, t.propose_joules, t.train_joules, t.score_joules, t.usd,
    t.commit_sha, t.candidate_commit, t.parent_commit, t.program_key, t.diff, t.decision, t.lineage_sha256,
    t.created_at, t.decided_at, t.trial_id, c.tag AS campaign
FROM raw.trials t
JOIN raw.campaigns c USING (campaign_id)
LEFT JOIN raw.trials p ON p.trial_id = t.parent_trial_id
ORDER BY c.created_at, t.campaign_id, t.seq;

CREATE TEMP VIEW measurements AS
SELECT
    t.seq AS trial, m.seed_index, m.seed, m.state, m.val_bpb, m.status, m.reason, m.attempt, m.isolation,
    m.startup_s, m.train_s, m.score_s, m.steps, m.tokens, m.params, m.flops, m.mfu, m.peak_rss_bytes, m.peak_device_bytes,
    m.total_nats, m.total_bytes, m.scored_tokens, m.summary, m.log_tail, m.started_at, m.finished_at,
    m.purpose, m.answer_s, m.test_bpb, m.probes, m.machine, m.measurement_id, c.tag AS campaign
FROM raw.measurements m
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c ON c.campaign_id = m.campaign_id
ORDER BY c.created_at, m.campaign_id, t.seq, m.seed_index, m.measurement_id;

CREATE TEMP VIEW curves AS
SELECT
    t.seq AS trial, m.seed_index, unnest(k.step) AS step, unnest(k.tokens) AS tokens, unnest(k.elapsed_s) AS elapsed_s,
    unnest(k.loss) AS loss, k.measurement_id, c.tag AS campaign
FROM raw.curves k
JOIN raw.measurements m USING (measurement_id)
JOIN raw.trials t ON t.trial_id = k.trial_id
JOIN raw.campaigns c ON c.campaign_id = m.campaign_id;

CREATE TEMP VIEW calls AS
SELECT
    t.seq AS trial, k.attempt, k.position, k.proposer, k.model, k.raw_reply, k.error, k.prompt_tokens, k.completion_tokens,
    k.latency_s, k.usd, k.role, k.prompt, k.message, k.created_at, k.call_id, c.tag AS campaign
FROM raw.calls k
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id)
ORDER BY c.created_at, t.campaign_id, t.seq, k.attempt, k.position, k.call_id;

CREATE TEMP VIEW verdicts AS
SELECT t.seq AS trial, v.attempt, v.position, v.rail, v.ok, v.reason, c.tag AS campaign
FROM raw.verdicts v
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id)
ORDER BY c.created_at, t.campaign_id, t.seq, v.attempt, v.position;

CREATE TEMP VIEW lessons AS
SELECT t.seq AS trial, l.text, l.source, l.created_at, c.tag AS campaign
FROM raw.lessons l
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c ON c.campaign_id = l.campaign_id
ORDER BY c.created_at, l.campaign_id, t.seq;

CREATE TEMP VIEW lineage_blocks AS
SELECT b.sha256, b.text, b.created_at, c.tag AS campaign
FROM raw.lineage_blocks b
JOIN raw.campaigns c USING (campaign_id)
ORDER BY b.ordinal;

CREATE TEMP VIEW spans AS
SELECT t.seq AS trial, s.node, s.part, s.seconds, c.tag AS campaign
FROM raw.spans s
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id);

-- What happened to the loop itself: pauses, endpoints that went and came back, a full disk, another machine.
CREATE TEMP VIEW events AS
SELECT e.kind, e.text, e.trial_seq AS trial, e.created_at, c.tag AS campaign
FROM raw.events e
JOIN raw.campaigns c USING (campaign_id)
ORDER BY e.ordinal;

-- The pooled spread of one measurement within each campaign. Keep rules pool it further, over all campaigns of the store
-- that measure alike: squares and degrees of freedom add up. A replicate is the same program with another seed: the same
-- program with the same seed is no new information, so only the first counts. Failed and quarantined trials say nothing,
-- and measurements count on the machine that the campaign runs on, or ran on last.
-- Sums are ordered, so that equal rows give equal digits wherever they lie.
CREATE TEMP VIEW noise AS
WITH draws AS (
    SELECT
        m.campaign_id, coalesce(t.program_key, t.trial_id) AS program,
        first(m.val_bpb ORDER BY t.seq, m.seed_index, m.measurement_id) AS val_bpb
    FROM raw.measurements m
    JOIN raw.trials t USING (trial_id)
    JOIN raw.campaigns c ON c.campaign_id = m.campaign_id AND c.hardware_fingerprint = m.machine
    WHERE m.val_bpb IS NOT NULL AND m.state = 'measured' AND (t.status IS NULL OR t.status IN ('baseline', 'keep', 'discard'))
    GROUP BY m.campaign_id, program, m.seed
),
programs AS (
    SELECT campaign_id, count(*) AS n, var_pop(val_bpb ORDER BY val_bpb) * count(*) AS squares
    FROM draws
    GROUP BY campaign_id, program
    HAVING count(*) > 1
)
SELECT
    sqrt(sum(squares ORDER BY squares) / sum(n - 1)) AS sd, CAST(sum(n - 1) AS BIGINT) AS df, count(*) AS programs,
    campaign_id, (SELECT tag FROM raw.campaigns c WHERE c.campaign_id = p.campaign_id) AS campaign
FROM programs p
GROUP BY campaign_id;

-- The same definition as memory/near_misses.py: discarded with a positive gain, or within one noise sd of the incumbent
-- of its day. Gains are relative to the baseline's metric, so the sd is too.
CREATE TEMP VIEW near_misses AS
SELECT t.seq AS trial, t.edit_key AS edit, t.gain, t.gain_low, t.gain_high, t.p_improve, c.tag AS campaign
FROM raw.trials t
JOIN raw.campaigns c USING (campaign_id)
LEFT JOIN raw.trials b ON b.campaign_id = t.campaign_id AND b.kind = 'baseline'
LEFT JOIN noise n ON n.campaign_id = t.campaign_id
WHERE t.status = 'discard' AND (t.gain > 0 OR t.gain >= -n.sd / coalesce(nullif(abs(b.metric), 0), 1))
ORDER BY c.created_at, t.campaign_id, t.p_improve DESC NULLS LAST, t.gain DESC, t.seq;
