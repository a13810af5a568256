package stage

import (
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/internal/storage"
)

func init() {
	beam.RegisterDoFn(&readListFn{})
	register.Emitter1[string]()
}

// inGraph is how many references a graph has at most, and inFile how many a file of others: a graph of any number of files and groups stays
// as small as one of a few.
const (
	inGraph = 256
	inFile  = 4096
)

// List is a collection of references that the driver has. Few stand in the graph itself, many in files of the folder dir, name-00000.json
// and so on, of which the graph has the names; a dry list has the names and writes no file. decode makes a reference of its JSON; it is
// a function that is registered with Beam.
func List[T any](s beam.Scope, dir, name string, all []T, decode any, dry bool) (beam.PCollection, error) {
	if len(all) <= inGraph {
		return beam.CreateList(s, all), nil
	}
	s = s.Scope("stage.List")
	var files []string
	for from := 0; from < len(all); from += inFile {
		raw, err := json.Marshal(all[from:min(from+inFile, len(all))])
		if err != nil {
			return beam.PCollection{}, err
		}
		file := storage.Join(dir, fmt.Sprintf("%s-%05d.json", name, from/inFile))
		if !dry {
			if err := storage.WriteFile(file, raw); err != nil {
				return beam.PCollection{}, err
			}
		}
		files = append(files, file)
	}
	texts := beam.ParDo(s, &readListFn{}, beam.Reshuffle(s, beam.CreateList(s, files)))
	return beam.ParDo(s, decode, texts), nil
}

// readListFn reads a file of references.
type readListFn struct{}

// ProcessElement emits the JSON of each reference.
func (*readListFn) ProcessElement(file string, emit func(string)) error {
	raw, err := storage.ReadSmall(file, storage.KindState)
	if err != nil {
		return err
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, r := range all {
		emit(string(r))
	}
	return nil
}
