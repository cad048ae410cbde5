-- On behalf of which trial a measurement was made: an incumbent is measured again in the trials of its candidates.
ALTER TABLE raw.measurements ADD COLUMN for_trial_id VARCHAR;
