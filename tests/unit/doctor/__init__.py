"""The command `s3mountctl doctor`, from its arguments to its report, on real sockets."""
