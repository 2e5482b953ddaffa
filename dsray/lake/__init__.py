"""The only package that touches storage: objects that are created once, receipts, manifests, refs, the local S3 server."""
