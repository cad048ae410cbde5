-- Who proposed what: specialist, critic, search or model; and how a reply was asked for and why it ended.
ALTER TABLE raw.trials ADD COLUMN origin VARCHAR;
ALTER TABLE raw.trials ADD COLUMN critique JSON;
ALTER TABLE raw.calls ADD COLUMN reply_form VARCHAR;
ALTER TABLE raw.calls ADD COLUMN finish_reason VARCHAR;
