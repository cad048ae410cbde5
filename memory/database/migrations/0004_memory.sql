-- What a night cost, part by part; where a campaign came from when this loop did not run it; and what a model was asked for.
ALTER TABLE raw.campaigns ADD COLUMN source VARCHAR;
ALTER TABLE raw.trials ADD COLUMN propose_joules DOUBLE;
ALTER TABLE raw.trials ADD COLUMN train_joules DOUBLE;
ALTER TABLE raw.trials ADD COLUMN score_joules DOUBLE;
ALTER TABLE raw.calls ADD COLUMN role VARCHAR DEFAULT 'propose';
