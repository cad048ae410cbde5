-- What a program does, whatever it calls things: a second key beside that of its syntax tree.
ALTER TABLE raw.trials ADD COLUMN idea_key VARCHAR;
