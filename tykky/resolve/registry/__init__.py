"""Images of registries: from a reference to manifests for a lock, and from those to checked files for a build."""
