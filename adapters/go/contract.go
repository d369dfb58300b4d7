// The lines of kitref's adapter contract, answered by the function answer of the file beside it.
package main

import (
	"bufio"
	_ "crypto/sha256" // a library knows the digests that its program links
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type claims map[string]any

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked struct{ Text string }
		err := json.Unmarshal(lines.Bytes(), &asked)
		said := claims{}
		if err == nil {
			said, err = answer(asked.Text)
		}
		if err != nil {
			said = claims{"error": err.Error()}
		}
		out.Encode(said)
	}
}

// normalized claims all of a reference that is its own canonical form.
func normalized(named fmt.Stringer, domain, path, familiar string) claims {
	_, digest, _ := strings.Cut(named.String(), "@")
	tag := ""
	if tagged, ok := named.(interface{ Tag() string }); ok {
		tag = tagged.Tag()
	}
	return claims{
		"domain": domain, "path": path, "tag": tag, "digest": digest,
		"familiar": familiar, "canonical": named.String(),
	}
}
