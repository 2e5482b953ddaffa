"""The Scrapy project that fetches raw rows. One process crawls one partition of hosts: `python -m crawlers.fetch`."""
