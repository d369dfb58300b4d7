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
	said := claims{
		"domain": strings.Replace(ref.Context().RegistryStr(), "index.docker.io", "docker.io", 1),
		"path":   ref.Context().RepositoryStr(),
	}
	if digest, ok := ref.(name.Digest); ok {
		said["digest"] = digest.DigestStr()
	} else if strings.HasSuffix(text, ":"+ref.Identifier()) {
		said["tag"] = ref.Identifier()
	}
	return said, nil
}
