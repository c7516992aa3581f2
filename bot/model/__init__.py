"""The Messages API: settings to parameters, stream to parts, errors to ours."""
