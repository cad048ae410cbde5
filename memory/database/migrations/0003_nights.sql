-- What a night does to a loop: its state, its running time and energy, events; on which machine a measurement ran; and
-- whole messages of a model, so that a conversation that was paid for can go on after a crash.
ALTER TABLE raw.campaigns ADD COLUMN fallback VARCHAR;
ALTER TABLE raw.campaigns ADD COLUMN state VARCHAR DEFAULT 'running';
ALTER TABLE raw.campaigns ADD COLUMN state_reason VARCHAR;
ALTER TABLE raw.campaigns ADD COLUMN active_s DOUBLE DEFAULT 0;
ALTER TABLE raw.campaigns ADD COLUMN joules DOUBLE;
UPDATE raw.campaigns SET state = 'ended' WHERE stop_reason IS NOT NULL;
UPDATE raw.campaigns SET active_s = coalesce(
    (SELECT sum(total_s) FROM raw.trials t WHERE t.campaign_id = raw.campaigns.campaign_id), 0
);
ALTER TABLE raw.measurements ADD COLUMN machine VARCHAR DEFAULT '';
UPDATE raw.measurements SET machine = (
    SELECT hardware_fingerprint FROM raw.campaigns c WHERE c.campaign_id = raw.measurements.campaign_id
);
ALTER TABLE raw.calls ADD COLUMN message JSON;

CREATE TABLE raw.events (
    campaign_id VARCHAR NOT NULL,
    trial_seq BIGINT,
    kind VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    ordinal BIGINT NOT NULL -- hidden: 0, 1, 2, … in the order of writing; snapshots are cut by it
);
