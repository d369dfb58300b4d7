// distribution/reference: the reading of Docker itself.
package main

import "github.com/distribution/reference"

func answer(text string) (claims, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, err
	}
	domain, path := reference.Domain(named), reference.Path(named)
	return normalized(named, domain, path, reference.FamiliarString(named)), nil
}
