-- What a measurement used of the CPU, all its processes together: until its clock started, in training, and until it answered.
ALTER TABLE raw.measurements ADD COLUMN startup_cpu_s DOUBLE;
ALTER TABLE raw.measurements ADD COLUMN cpu_s DOUBLE;
ALTER TABLE raw.measurements ADD COLUMN answer_cpu_s DOUBLE;
