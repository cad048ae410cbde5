"""Pure figures of a record, for reports and commands: counted here, drawn in `cli`."""
