"""The command line: what a user writes becomes one frozen Config, or one UsageError.

Read: options (the table from which all else is derived), values (syntax), option_value; parser,
config_file and mount_options, the three places where options are written; build_config; main,
mount_helper and clear, the commands; exit_status; reference, which generates docs/options.md.

Invariants: every word is parsed or named in an error, with the place where it was written.
Credentials are never accepted, and never repeated. boto3 and libfuse are not imported before a
mount begins.
"""
