-- The newest schema as a whole, which a new store gets at once; an older one comes to the same by the numbered steps
-- beside this file. Whoever adds a step adds it here, too: tests/memory/database/test_new_schema.py holds the two together. A
-- column that a step adds comes last in its table, as ALTER TABLE puts it there.
--
-- Schema raw, not store: DuckDB names the catalog after the file, and store.duckdb would make `store` ambiguous.
-- One row is one record of memory/records.py, column for field; hidden columns are marked.
-- Times are TIMESTAMP in UTC (never TIMESTAMPTZ: reading that needs a time-zone library and the session's zone).
-- No foreign keys: DuckDB checks them too eagerly when a parent row is updated. The store checks instead.
CREATE TABLE raw.campaigns (
    campaign_id VARCHAR PRIMARY KEY,
    tag VARCHAR NOT NULL UNIQUE,
    branch VARCHAR NOT NULL,
    proposer VARCHAR NOT NULL,
    lineage BOOLEAN NOT NULL,
    seed BIGINT NOT NULL,
    keep_rule VARCHAR NOT NULL,
    task JSON NOT NULL,
    limits JSON NOT NULL,
    corpus_sha256 VARCHAR NOT NULL,
    hardware JSON NOT NULL,
    hardware_fingerprint VARCHAR NOT NULL,
    isolation VARCHAR NOT NULL,
    versions JSON NOT NULL,
    baseline_commit VARCHAR NOT NULL,
    head_commit VARCHAR NOT NULL,
    incumbent_trial_id VARCHAR,
    stop_reason VARCHAR,
    created_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP,
    final JSON,
    fallback VARCHAR,
    state VARCHAR DEFAULT 'running',
    state_reason VARCHAR,
    active_s DOUBLE DEFAULT 0,
    joules DOUBLE,
    source VARCHAR,
    overrides JSON
);

CREATE TABLE raw.trials (
    trial_id VARCHAR PRIMARY KEY,
    campaign_id VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    phase VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    repairs BIGINT NOT NULL,
    parent_trial_id VARCHAR,
    parent_commit VARCHAR,
    proposer VARCHAR,
    specialist VARCHAR,
    domain VARCHAR,
    hypothesis VARCHAR,
    expected_delta DOUBLE,
    rationale VARCHAR,
    edit JSON,
    edit_key VARCHAR,
    program_key VARCHAR,
    diff VARCHAR,
    candidate_commit VARCHAR,
    status VARCHAR,
    reason VARCHAR,
    metric DOUBLE,
    gain DOUBLE,
    gain_low DOUBLE,
    gain_high DOUBLE,
    p_improve DOUBLE,
    n_measurements BIGINT NOT NULL,
    decision JSON,
    commit_sha VARCHAR,
    lineage_sha256 VARCHAR,
    lesson VARCHAR,
    propose_s DOUBLE NOT NULL,
    train_s DOUBLE NOT NULL,
    score_s DOUBLE NOT NULL,
    total_s DOUBLE NOT NULL,
    joules DOUBLE,
    usd DOUBLE,
    created_at TIMESTAMP NOT NULL,
    decided_at TIMESTAMP,
    propose_joules DOUBLE,
    train_joules DOUBLE,
    score_joules DOUBLE,
    origin VARCHAR,
    critique JSON,
    idea_key VARCHAR,
    UNIQUE (campaign_id, seq)
);

CREATE TABLE raw.measurements (
    measurement_id VARCHAR PRIMARY KEY,
    campaign_id VARCHAR NOT NULL,
    trial_id VARCHAR NOT NULL,
    seed_index BIGINT NOT NULL,
    seed BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    isolation VARCHAR NOT NULL,
    score DOUBLE,
    total_nats DOUBLE,
    total_bytes BIGINT,
    scored_tokens BIGINT,
    status VARCHAR,
    reason VARCHAR,
    startup_s DOUBLE,
    train_s DOUBLE,
    score_s DOUBLE,
    steps BIGINT,
    tokens BIGINT,
    params BIGINT,
    flops DOUBLE,
    mfu DOUBLE,
    peak_rss_bytes BIGINT,
    peak_device_bytes BIGINT,
    summary JSON,
    log_tail VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    purpose VARCHAR DEFAULT 'search',
    answer_s DOUBLE,
    test_score DOUBLE,
    probes JSON,
    machine VARCHAR DEFAULT '',
    startup_cpu_s DOUBLE,
    cpu_s DOUBLE,
    answer_cpu_s DOUBLE,
    for_trial_id VARCHAR
);
CREATE INDEX measurements_by_trial ON raw.measurements (trial_id);

CREATE TABLE raw.curves (
    measurement_id VARCHAR PRIMARY KEY,
    trial_id VARCHAR NOT NULL,
    step BIGINT[] NOT NULL,
    tokens BIGINT[] NOT NULL,
    elapsed_s DOUBLE[] NOT NULL,
    loss DOUBLE[] NOT NULL
);
CREATE INDEX curves_by_trial ON raw.curves (trial_id);

CREATE TABLE raw.calls (
    call_id VARCHAR PRIMARY KEY,
    trial_id VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    position BIGINT NOT NULL,
    proposer VARCHAR NOT NULL,
    model VARCHAR,
    prompt JSON,
    raw_reply VARCHAR,
    error VARCHAR,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    latency_s DOUBLE NOT NULL,
    usd DOUBLE,
    created_at TIMESTAMP NOT NULL,
    message JSON,
    role VARCHAR DEFAULT 'propose',
    reply_form VARCHAR,
    finish_reason VARCHAR
);
CREATE INDEX calls_by_trial ON raw.calls (trial_id);

CREATE TABLE raw.verdicts (
    trial_id VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    position BIGINT NOT NULL,
    rail VARCHAR NOT NULL,
    ok BOOLEAN NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (trial_id, attempt, position)
);

CREATE TABLE raw.lineage_blocks (
    sha256 VARCHAR PRIMARY KEY,
    campaign_id VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    ordinal BIGINT NOT NULL -- hidden: 0, 1, 2, … in the order of writing; snapshots are cut by it
);

CREATE TABLE raw.lessons (
    trial_id VARCHAR PRIMARY KEY,
    campaign_id VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE raw.spans (
    trial_id VARCHAR NOT NULL,
    node VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL
);

CREATE TABLE raw.events (
    campaign_id VARCHAR NOT NULL,
    trial_seq BIGINT,
    kind VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    ordinal BIGINT NOT NULL -- hidden: 0, 1, 2, … in the order of writing; snapshots are cut by it
);

-- What was written since the tables were last brought up to date (memory/database/journal.py): one row a transaction.
CREATE TABLE raw.journal (
    ordinal BIGINT NOT NULL, -- 0, 1, 2, … in the order of writing
    entries VARCHAR NOT NULL -- JSON: [table, whether the row is new, {column: value}] of each row
);
