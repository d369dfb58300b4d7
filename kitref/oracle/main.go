// Command oracle says what the Go package distribution/reference makes of texts.
//
// Standard input holds texts as their bytes, so that also what is no UTF-8 can be asked for, each
// after its length as four bytes, the highest first. Standard output holds one JSON object a line
// for each, in order: {"refused": REASON}, or the parts and names of a reference.
package main

import (
	"bufio"
	// go-digest refuses a digest whose algorithm the program does not link in.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/distribution/reference"
)

// refusal is the answer to a text that is no reference.
type refusal struct {
	Refused string `json:"refused"`
}

// answer is what the package makes of a reference; Tag and Digest are nil where there is none.
type answer struct {
	Domain    string  `json:"domain"`
	Path      string  `json:"path"`
	Tag       *string `json:"tag"`
	Digest    *string `json:"digest"`
	Familiar  string  `json:"familiar"`
	Canonical string  `json:"canonical"`
	// Tagged is the canonical name with ":latest" where there is neither a tag nor a digest.
	Tagged string `json:"tagged"`
}

// ask returns the answer to a text, or the refusal.
func ask(text string) any {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return refusal{Refused: err.Error()}
	}
	said := answer{
		Domain:    reference.Domain(named),
		Path:      reference.Path(named),
		Familiar:  reference.FamiliarString(named),
		Canonical: named.String(),
		Tagged:    reference.TagNameOnly(named).String(),
	}
	if tagged, ok := named.(reference.Tagged); ok {
		tag := tagged.Tag()
		said.Tag = &tag
	}
	if digested, ok := named.(reference.Digested); ok {
		digest := digested.Digest().String()
		said.Digest = &digest
	}
	return said
}

// next reads a text; the error is io.EOF where there is none left.
func next(in io.Reader) (string, error) {
	var length uint32
	if err := binary.Read(in, binary.BigEndian, &length); err != nil {
		return "", err
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", fmt.Errorf("a text is cut off: %w", err)
	}
	return string(text), nil
}

// run answers every text of in.
func run(in io.Reader, out io.Writer) error {
	encoder := json.NewEncoder(out)
	for {
		text, err := next(in)
		if errors.Is(err, io.EOF) && text == "" {
			return nil
		}
		if err != nil {
			return err
		}
		if err := encoder.Encode(ask(text)); err != nil {
			return err
		}
	}
}

func main() {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := run(bufio.NewReaderSize(os.Stdin, 1<<20), out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}
