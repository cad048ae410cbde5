-- The score is called what it is: of the task's own metric, which need not be bits per byte.
DROP INDEX raw.measurements_by_trial;
ALTER TABLE raw.measurements RENAME COLUMN val_bpb TO score;
ALTER TABLE raw.measurements RENAME COLUMN test_bpb TO test_score;
CREATE INDEX measurements_by_trial ON raw.measurements (trial_id);
