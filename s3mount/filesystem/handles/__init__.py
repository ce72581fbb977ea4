"""Open files and open directories, which the kernel's file handles refer to.

`open_files` reads one object version each; `open_directories` turns readdir offsets into entries.
Both tell the prefetch policies, which are passed in, what is opened. A handle is valid until it is
released, whatever becomes of the names.
"""
