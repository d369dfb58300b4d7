// containers/image: the reading of podman, skopeo and buildah.
package main

import "github.com/containers/image/docker/reference"

func answer(text string) (claims, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, err
	}
	domain, path := reference.Domain(named), reference.Path(named)
	return normalized(named, domain, path, reference.FamiliarString(named)), nil
}
