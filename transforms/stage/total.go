package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/end"
)

func init() {
	beam.RegisterDoFn(&bucketFn{})
	beam.RegisterDoFn(&addFn{})
	beam.RegisterDoFn(&writeTotalFn{})
	register.Emitter2[int, string]()
}

// What the driver of a job wants to know of it are sums: how many records each stage was given, what it rejected, how many tokens there
// are. Workers add them up, so that the driver reads one file a stage, whatever the number of groups.

// adders add up totals of a kind, each in JSON.
var adders = map[string]func(texts func(*string) bool) ([]byte, error){}

// RegisterTotal names a type of totals, whose Add adds another: in whatever order totals are added, the sum must be the same. It is called
// from init.
func RegisterTotal[T any, P interface {
	*T
	Add(*T)
}](kind string) {
	if adders[kind] != nil {
		panic(fmt.Sprintf("stage.RegisterTotal: %s is there twice", kind))
	}
	adders[kind] = func(texts func(*string) bool) ([]byte, error) {
		var sum T
		for text := ""; texts(&text); {
			var one T
			if err := json.Unmarshal([]byte(text), &one); err != nil {
				return nil, fmt.Errorf("a total of %s: %w", kind, err)
			}
			P(&sum).Add(&one)
		}
		return json.Marshal(&sum)
	}
}

// totalBuckets is how many totals of many are made on the way to the one.
const totalBuckets = 64

// Total adds up totals (PCollection<string>, each the JSON of a type registered as kind) and writes the sum to the file path, which is not
// written where there is none: see [ReadTotal].
func Total(s beam.Scope, kind, path string, totals beam.PCollection) {
	if adders[kind] == nil {
		panic(fmt.Sprintf("stage.Total: no type of totals is registered as %s", kind))
	}
	s = s.Scope("stage.Total")
	some := beam.ParDo(s, &addFn{Kind: kind}, beam.GroupByKey(s, beam.ParDo(s, &bucketFn{N: totalBuckets}, totals)))
	end.Of(s, beam.ParDo(s, &writeTotalFn{Kind: kind, Path: path}, beam.GroupByKey(s, beam.ParDo(s, keyed, some))))
}

// ReadTotal reads the sum that [Total] wrote to path; that of nothing is zero.
func ReadTotal[T any](path string) (*T, error) {
	var sum T
	raw, err := storage.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &sum, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &sum); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &sum, nil
}

// bucketFn spreads texts over N keys.
type bucketFn struct{ N int }

// ProcessElement emits the text by the hash of it.
func (f *bucketFn) ProcessElement(text string) (int, string) {
	h := fnv.New32a()
	h.Write([]byte(text))
	return int(h.Sum32() % uint32(f.N)), text
}

// addFn adds up the totals of a bucket.
type addFn struct{ Kind string }

// ProcessElement emits the sum.
func (f *addFn) ProcessElement(_ int, totals func(*string) bool, emit func(string)) error {
	sum, err := adders[f.Kind](totals)
	if err == nil {
		emit(string(sum))
	}
	return err
}

// writeTotalFn writes the sum of all.
type writeTotalFn struct{ Kind, Path string }

// ProcessElement writes the file and emits its path.
func (f *writeTotalFn) ProcessElement(_ int, totals func(*string) bool, emit func(string)) error {
	sum, err := adders[f.Kind](totals)
	if err == nil {
		err = storage.WriteFile(f.Path, sum)
	}
	if err == nil {
		emit(f.Path)
	}
	return err
}
