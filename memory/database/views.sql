-- The documented views of `nightshift query`. Stable: columns may be added, none renamed or removed.
-- What stands behind a column here is its meaning in docs/schema.md (memory/schema_doc.py), and nowhere else; likewise
-- the lines right above a view. `trial` is the number within a campaign (0 is the baseline), `campaign` the tag.

-- One row a campaign: a search in this workspace, or a log that was imported.
CREATE TEMP VIEW campaigns AS
SELECT
    tag AS campaign, -- its tag; unique in the workspace
    branch, -- git branch that holds what was kept
    proposer, -- who proposes: a name from models.toml, or tpe, random, cma, gp, replay, scripted
    lineage, -- whether proposals are shown the lineage block
    seed, -- from which every random choice of the campaign follows
    keep_rule, -- strict, threshold or sequential; imported for a log
    isolation, -- level at which trials run now, L1 (weakest) to L4
    (SELECT seq FROM raw.trials t WHERE t.trial_id = c.incumbent_trial_id) AS incumbent, -- the best trial so far; 0 while it is the baseline
    (SELECT count(*) FROM raw.trials t WHERE t.campaign_id = c.campaign_id AND t.phase = 'decided' AND t.kind = 'search') AS trials, -- trials that are decided, without the baseline
    baseline_commit, -- git commit that the search started from
    head_commit, -- git commit that the branch must point at: the incumbent's
    stop_reason, -- why it is over, in one sentence; null while it is not
    final, -- its result, incumbent against baseline measured again at the end, as an object (its keys: docs/report.md); null before that, or when nothing was kept
    created_at, -- when it began
    ended_at, -- when its last loop ended; null while one runs
    task, -- the resolved task.toml, as it was at the start, as an object
    limits, -- when it ends by itself, as an object: trials, hours, usd, joules (0: no limit), failures_in_a_row
    versions, -- of Python and the libraries, as an object
    hardware, -- the machine it runs on, or ran on last, as an object
    hardware_fingerprint, -- the same as one word: scores of two machines are not compared
    corpus_sha256, -- SHA-256 of the text that is trained on and scored
    fallback, -- proposer that is asked while the campaign's own does not answer; null: nobody
    state, -- what a loop does with it, or did when it was last heard of
    state_reason, -- why it is paused, waits, or ended before its time, in one sentence
    active_s, -- seconds that loops have worked on it, pauses left out
    joules, -- joules that the machine took meanwhile, as far as they were counted; null where it has no meter
    source, -- file that it was imported from; null when a loop here ran it
    overrides, -- what an arm of a study set otherwise than its workspace, by run option or dotted key of task.toml, as an object; null: nothing
    campaign_id -- its id in the store
FROM raw.campaigns c
ORDER BY created_at, campaign_id;

-- One row a trial: a proposal and what became of it. Trial 0 is the baseline.
CREATE TEMP VIEW trials AS
SELECT
    t.seq AS trial, -- number within the campaign, in the order of proposing; 0 is the baseline
    t.status, -- what became of it; null until decided
    t.edit_key AS edit, -- the edit as one canonical text, e.g. depth=3; equal edits have equal texts
    t.metric, -- mean of its measurements, in the task's metric (bits per byte of the validation text unless it says otherwise); null unless it ran to its end
    t.gain, -- improvement over the parent, relative to the campaign's baseline (0.01 is one per cent); positive is better
    t.gain_low, -- lower end of the gain's 95 % interval; null without an estimate of the noise
    t.gain_high, -- upper end of the gain's 95 % interval
    t.p_improve, -- probability that the true gain is above 0
    t.n_measurements AS measurements, -- how many measurements are behind the metric
    t.reason, -- why it has that status, in one sentence
    t.hypothesis, -- what the proposer expects, in its words
    t.rationale, -- the proposer's reason
    t.expected_delta, -- the proposer's guess of the change in the metric
    t.edit->>'$.knob' AS knob, -- the knob that is edited; null for a free diff
    t.edit->>'$.value' AS value, -- the knob's new value, as text
    t.lesson, -- what the curator drew from it, in one line
    p.seq AS parent, -- number of the trial that it edits and is compared with: the incumbent of its day
    t.kind, -- baseline or search
    t.phase, -- how far it has got
    t.attempt, -- correction round of the proposal that counts: 0, 1 or 2
    t.repairs, -- how often a crash was sent back to the proposer
    t.proposer, -- who proposed it
    t.specialist, -- specialist of the planner that proposed it; null: none
    t.origin, -- whose idea it was
    t.critique, -- what the critic said of the draft that it was shown, as an object; null where none was asked
    t.domain, -- the proposer's own word for the area of the edit
    t.propose_s, -- seconds until the proposal was there, as the proposer's calls count them
    t.train_s, -- seconds of training in its own measurements
    t.score_s, -- seconds of scoring in its own measurements
    t.total_s, -- seconds from taking it up to its decision; of a resumed trial those of the last loop
    t.joules, -- joules that the machine took from opening to decision; null where nobody knows all of it: no meter, a lost one, or another loop began the trial
    t.propose_joules, -- of those, joules while the proposer was waited for; null where not all is known
    t.train_joules, -- of those, joules while something was trained, the incumbent on its behalf included; null where not all is known
    t.score_joules, -- of those, joules while a model was scored and probed; null where not all is known
    t.usd, -- dollars for the proposer's calls; null when none of them has a price
    t.commit_sha, -- git commit that it was kept as, null unless kept; of a disqualified trial: its keep was undone, the branch is there no more
    t.candidate_commit, -- git commit of its program, kept or not; null when it never got that far
    t.parent_commit, -- git commit that the edit applies to
    t.program_key, -- hash of the program's meaning (normalised syntax tree): equal programs have equal keys
    t.idea_key, -- hash of what the program does, whatever it calls things; null in trials of before
    t.diff, -- unified diff of the program against the parent's
    CASE WHEN t.status = 'keep' THEN coalesce(t.decision->>'$.kind', 'gain') END AS kept_as, -- why it was kept: gain, or simpler, which is none; null unless kept
    t.decision, -- the evidence behind the last decision, as the keep rule stated it, as an object
    t.lineage_sha256, -- the lineage block that the proposal saw; null when lineage was off
    t.created_at, -- when it was opened
    t.decided_at, -- when it was decided; null before
    t.trial_id, -- its id in the store
    c.tag AS campaign -- tag of the campaign
FROM raw.trials t
JOIN raw.campaigns c USING (campaign_id)
LEFT JOIN raw.trials p ON p.trial_id = t.parent_trial_id
ORDER BY c.created_at, t.campaign_id, t.seq;

-- One row a measurement: one training and scoring of a trial's program with one seed.
CREATE TEMP VIEW measurements AS
SELECT
    t.seq AS trial, -- the trial whose program was measured
    m.seed_index, -- which of the campaign's shared seeds: programs are compared on equal ones; 1000 and up are the result's
    m.seed, -- the seed itself
    m.state, -- how it ended, or that it has not
    m.score, -- in the task's metric; of a text, bits per byte of its validation part; null without one
    CASE WHEN c.in_bpb THEN m.score END AS val_bpb, -- the same, where the metric is bits per byte; null where it is another
    m.status, -- the failure, when its state is failed; null otherwise
    m.reason, -- why it failed or was stopped, in one sentence
    m.attempt, -- how often it was started; more than 1 after a crash of the loop
    m.isolation, -- level at which its process ran, L1 to L4
    m.startup_s, -- seconds from the start of the process to the start of the budget's clock
    m.train_s, -- seconds of training, by the loop's monotonic clock
    m.cpu_s, -- CPU seconds of training, of all its processes; null where they could not all be counted
    m.score_s, -- seconds of scoring, probes left out
    m.steps, -- training steps
    m.tokens, -- tokens trained on
    m.params, -- parameters of the model, as its process states them
    m.flops, -- floating-point operations of the training, as its process states them
    m.mfu, -- share of the device's peak that those make up (0 to 1); null where the peak is unknown
    m.peak_rss_bytes, -- most main memory that the process took, in bytes
    m.peak_device_bytes, -- most device memory, in bytes, as its process states it; null on a CPU
    m.total_nats, -- sum of the losses over the validation text, in nats
    m.total_bytes, -- bytes of validation text that were scored
    m.scored_tokens, -- tokens of validation text that were scored
    m.summary, -- what the trial's process said of itself, as an object; never decided on
    m.log_tail, -- the end of what it printed, or its traceback
    m.started_at, -- when it was started
    m.finished_at, -- when it ended; null while it runs
    m.purpose, -- why it was made
    m.answer_s, -- seconds until the trained model's first answer
    m.test_score, -- on what was held back, as the test text; only where the purpose is final
    CASE WHEN c.in_bpb THEN m.test_score END AS test_bpb, -- the same, where the metric is bits per byte
    m.probes, -- what the probes of the trained model found, as an object; effects in nats
    m.machine, -- fingerprint of the hardware it ran on
    m.startup_cpu_s, -- CPU seconds from the start of the process to the start of the budget's clock
    m.answer_cpu_s, -- CPU seconds from the end of training to the trained model's first answer
    (SELECT b.seq FROM raw.trials b WHERE b.trial_id = m.for_trial_id) AS for_trial, -- trial on whose behalf it was made
    m.measurement_id, -- its id in the store
    c.tag AS campaign -- tag of the campaign
FROM raw.measurements m
JOIN raw.trials t USING (trial_id)
JOIN (
    SELECT
        campaign_id, tag, created_at,
        coalesce(
            task->>'$.metric.unit',
            CASE WHEN source IS NULL OR task->>'$.metric.name' LIKE '%bpb%' THEN 'bits per byte' END
        ) = 'bits per byte' AS in_bpb
    FROM raw.campaigns
) c ON c.campaign_id = m.campaign_id
ORDER BY c.created_at, m.campaign_id, t.seq, m.seed_index, m.measurement_id;

-- One row a point of a training curve, as the training reported it.
CREATE TEMP VIEW curves AS
SELECT
    t.seq AS trial, -- the trial whose program was trained
    m.seed_index, -- of the measurement
    unnest(k.step) AS step, -- training step, from 1 on
    unnest(k.tokens) AS tokens, -- tokens trained on so far
    unnest(k.elapsed_s) AS elapsed_s, -- seconds on the budget's clock
    unnest(k.loss) AS loss, -- training loss at this step, in nats per token
    k.measurement_id, -- of the measurement
    c.tag AS campaign -- tag of the campaign
FROM raw.curves k
JOIN raw.measurements m USING (measurement_id)
JOIN raw.trials t ON t.trial_id = k.trial_id
JOIN raw.campaigns c ON c.campaign_id = m.campaign_id;

-- One row a request to a proposer or a model, with its raw answer.
CREATE TEMP VIEW calls AS
SELECT
    t.seq AS trial, -- the trial that it was made for
    k.attempt, -- correction round of the proposal: 0, 1 or 2
    k.position, -- order within the attempt: a planner may call tools before it answers
    k.proposer, -- who was asked
    k.model, -- the model behind it; null for a built-in proposer
    k.raw_reply, -- the answer as it came; null when there was none
    k.error, -- what went wrong; null when nothing did
    k.prompt_tokens, -- tokens read; null when not stated
    k.completion_tokens, -- tokens written; null when not stated
    k.latency_s, -- seconds until the answer
    k.usd, -- dollars; null when the model has no price
    k.role, -- what it was asked for
    k.reply_form, -- form of reply that was asked for; null where none was
    k.finish_reason, -- why the answer ended, as the endpoint states it: length where it was cut
    k.prompt, -- the messages as sent, as a list; null for a proposer that reads no text
    k.message, -- the model's whole message in the form of the protocol, as an object
    k.created_at, -- when the answer was stored
    k.call_id, -- its id in the store
    c.tag AS campaign -- tag of the campaign
FROM raw.calls k
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id)
ORDER BY c.created_at, t.campaign_id, t.seq, k.attempt, k.position, k.call_id;

-- One row a rail and proposal: what the rail said of it. The first that fails is the last that is asked.
CREATE TEMP VIEW verdicts AS
SELECT
    t.seq AS trial, -- the trial
    v.attempt, -- correction round of the proposal: 0, 1 or 2
    v.position, -- order in which the rails were asked
    v.rail, -- schema, menu, range, cross, diff, novelty or size
    v.ok, -- whether it let the proposal pass
    v.reason, -- why not, as the proposer was told; null when it passed
    c.tag AS campaign -- tag of the campaign
FROM raw.verdicts v
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id)
ORDER BY c.created_at, t.campaign_id, t.seq, v.attempt, v.position;

-- One row a lesson: a line that the curator drew from a trial, for the proposals after it.
CREATE TEMP VIEW lessons AS
SELECT
    t.seq AS trial, -- the trial
    l.text, -- the lesson
    l.source, -- rule, or the model that wrote it
    l.created_at, -- when it was drawn
    c.tag AS campaign -- tag of the campaign
FROM raw.lessons l
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c ON c.campaign_id = l.campaign_id
ORDER BY c.created_at, l.campaign_id, t.seq;

-- One row a lineage block that a proposal saw, by its hash.
CREATE TEMP VIEW lineage_blocks AS
SELECT
    b.sha256, -- SHA-256 of the text; `trials.lineage_sha256` names it
    b.text, -- the block, in Markdown
    b.created_at, -- when it was first shown
    c.tag AS campaign -- tag of the campaign
FROM raw.lineage_blocks b
JOIN raw.campaigns c USING (campaign_id)
ORDER BY b.ordinal;

-- One row a visit of a node of the graph and part of it: where a trial's seconds went.
CREATE TEMP VIEW spans AS
SELECT
    t.seq AS trial, -- the trial
    s.node, -- propose, check_rails, train, evaluate or curate; trial for all of it; finale and rebaseline outside of trials
    s.part, -- total of the visit, or what it waited for within: proposer, startup, tryout, train, score, probe
    s.seconds, -- how long
    c.tag AS campaign -- tag of the campaign
FROM raw.spans s
JOIN raw.trials t USING (trial_id)
JOIN raw.campaigns c USING (campaign_id);

-- One row a thing that happened to the loop itself: pauses, endpoints that went and came back, a full disk.
CREATE TEMP VIEW events AS
SELECT
    e.kind, -- what kind of thing
    e.text, -- what happened, in one sentence
    e.trial_seq AS trial, -- the trial in hand; null between trials
    e.created_at, -- when it happened
    c.tag AS campaign -- tag of the campaign
FROM raw.events e
JOIN raw.campaigns c USING (campaign_id)
ORDER BY e.ordinal;

-- One row a campaign: the spread of one measurement, pooled over its replicates of equal programs.
CREATE TEMP VIEW noise AS
-- Keep rules pool it further, over all campaigns of the store that measure alike: squares and degrees of freedom add
-- up. A replicate is the same program with another seed: the same program with the same seed is no new information,
-- so only the first counts. Failed and quarantined trials say nothing, and measurements count on the machine that the
-- campaign runs on, or ran on last. Sums are ordered, so that equal rows give equal digits wherever they lie.
WITH draws AS (
    SELECT
        m.campaign_id, coalesce(t.program_key, t.trial_id) AS program,
        first(m.score ORDER BY t.seq, m.seed_index, m.measurement_id) AS score
    FROM raw.measurements m
    JOIN raw.trials t USING (trial_id)
    JOIN raw.campaigns c ON c.campaign_id = m.campaign_id AND c.hardware_fingerprint = m.machine
    WHERE m.score IS NOT NULL AND m.state = 'measured' AND (t.status IS NULL OR t.status IN ('baseline', 'keep', 'discard'))
    GROUP BY m.campaign_id, program, m.seed
),
programs AS (
    SELECT campaign_id, count(*) AS n, var_pop(score ORDER BY score) * count(*) AS squares
    FROM draws
    GROUP BY campaign_id, program
    HAVING count(*) > 1
)
SELECT
    sqrt(sum(squares ORDER BY squares) / sum(n - 1)) AS sd, -- standard deviation of one measurement, in the metric's unit
    CAST(sum(n - 1) AS BIGINT) AS df, -- degrees of freedom behind it
    count(*) AS programs, -- programs that were measured more than once
    campaign_id, -- of the campaign
    (SELECT tag FROM raw.campaigns c WHERE c.campaign_id = p.campaign_id) AS campaign -- tag of the campaign
FROM programs p
GROUP BY campaign_id;

-- One row a trial that nearly made it: discarded with a positive gain, or within one noise sd of the incumbent of its day.
CREATE TEMP VIEW near_misses AS
-- The same definition as memory/keep/near_misses.py. Gains are relative to the baseline's metric, so the sd is too. The bound
-- is found once a campaign, and the baseline's metric grouped, so that DuckDB knows the small side of its joins: all in
-- all this costs a tenth of the noise that it asks for.
WITH floors AS (
    SELECT c.campaign_id, c.tag, c.created_at, -n.sd / coalesce(nullif(abs(b.metric), 0), 1) AS lowest
    FROM raw.campaigns c
    LEFT JOIN (
        SELECT campaign_id, arg_min(metric, seq) AS metric FROM raw.trials WHERE kind = 'baseline' GROUP BY campaign_id
    ) b USING (campaign_id)
    LEFT JOIN noise n USING (campaign_id)
)
SELECT
    t.seq AS trial, -- the trial
    t.edit_key AS edit, -- its edit, as one canonical text
    t.gain, -- improvement over the parent, relative to the baseline (0.01 is one per cent); positive is better
    t.gain_low, -- lower end of its 95 % interval
    t.gain_high, -- upper end of its 95 % interval
    t.p_improve, -- probability that the true gain is above 0
    f.tag AS campaign -- tag of the campaign
FROM raw.trials t
JOIN floors f USING (campaign_id)
WHERE t.status = 'discard' AND t.gain >= coalesce(f.lowest, 0) AND (t.gain > 0 OR f.lowest IS NOT NULL)
ORDER BY f.created_at, t.campaign_id, t.p_improve DESC NULLS LAST, t.gain DESC, t.seq;
