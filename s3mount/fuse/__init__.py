"""The kernel's door: requests → filesystem calls → replies and errnos, and the kernel's own caches.

The only room that speaks pyfuse3, with the composition root.
"""
