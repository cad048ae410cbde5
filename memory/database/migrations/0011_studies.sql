-- What a study's arm set otherwise than the workspace it is about.
ALTER TABLE raw.campaigns ADD COLUMN overrides JSON;
