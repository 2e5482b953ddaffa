"""The only package that touches storage: objects created once, receipts, manifests, refs, a local S3 server."""
