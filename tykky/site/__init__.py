"""What one site, and one user, has set in `site.toml`; and where Tykky's cache is."""

from tykky.site.cache import cache_directory
from tykky.site.load import SYSTEM_FILE, load_site
from tykky.site.model import Backend, Build, Init, Policy, Programs, Python, Runtime, Settings, Striping, Trust
from tykky.site.offer import Site
from tykky.site.table import Setting, settings_table

__all__ = [
    "SYSTEM_FILE",
    "Backend",
    "Build",
    "Init",
    "Policy",
    "Programs",
    "Python",
    "Runtime",
    "Setting",
    "Settings",
    "Site",
    "Striping",
    "Trust",
    "cache_directory",
    "load_site",
    "settings_table",
]
