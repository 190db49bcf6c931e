"""What a mesh is: names, identities, services, workloads, policies."""
