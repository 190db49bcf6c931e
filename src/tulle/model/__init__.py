"""What a mesh is: names, resources, problems. Knows neither YAML nor the wire."""
