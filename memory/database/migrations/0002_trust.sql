-- What a measurement was for, what it scored on the held-back test text, what the probes of its model found; and the
-- campaign's own last word: incumbent against baseline, measured again on common seeds.
ALTER TABLE raw.measurements ADD COLUMN purpose VARCHAR DEFAULT 'search';
ALTER TABLE raw.measurements ADD COLUMN answer_s DOUBLE;
ALTER TABLE raw.measurements ADD COLUMN test_bpb DOUBLE;
ALTER TABLE raw.measurements ADD COLUMN probes JSON;
ALTER TABLE raw.campaigns ADD COLUMN final JSON;
