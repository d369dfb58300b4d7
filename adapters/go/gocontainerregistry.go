// go-containerregistry: the reading of crane, ko, kaniko and of LinuxKit's pulls.
package main

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The library calls Docker Hub by its index's host. A tag that the text does not have is "latest"
// to it: no claim.
func answer(text string) (claims, error) {
	ref, err := name.ParseReference(text)
	if err != nil {
		return nil, err
	}
	domain := ref.Context().RegistryStr()
	if domain == name.DefaultRegistry {
		domain = "docker.io"
	}
	said := claims{"domain": domain, "path": ref.Context().RepositoryStr()}
	if digest, ok := ref.(name.Digest); ok {
		said["digest"] = digest.DigestStr()
	} else if strings.HasSuffix(text, ":"+ref.Identifier()) {
		said["tag"] = ref.Identifier()
	}
	return said, nil
}
