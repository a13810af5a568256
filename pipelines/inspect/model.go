package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// inspectModel describes a model folder: whether it can be trained here and why not, its size, its tokenizer, its chat templates, how it
// generates, its licence. What is wrong with one of these stands in its line.
func inspectModel(path string) ([]report.Fact, error) {
	raw, err := storage.ReadSmall(filepath.Join(path, "config.json"), storage.KindConfig)
	if err != nil {
		return nil, err
	}
	facts := report.Facts("model", path)
	add := func(name string, value any) { facts = append(facts, report.NewFact(name, value)) }
	config, parameters, err := model.Describe(raw)
	if err != nil {
		add("supported", "no: "+err.Error())
	} else {
		add("supported", "yes, "+config.Architecture)
		add("parameters", fmt.Sprintf("%d (%s)", parameters, recipe.Count(parameters)))
		add("layers", fmt.Sprintf("%d of %d values, %d attention heads", config.Layers, config.Hidden, config.Heads))
		add("context", fmt.Sprintf("%d tokens", config.MaxPositions))
		add("vocabulary", config.Vocab)
	}
	weights, err := weightFacts(path)
	if err != nil {
		weights = report.Facts("weights", err.Error())
	}
	facts = append(facts, weights...)
	add("tokenizer", tokenizerFact(path))
	add("chat template", templateFact(path))
	if g, err := evaluate.ReadGenerationConfig(path); err != nil {
		add(evaluate.GenerationFile, err.Error())
	} else {
		s := evaluate.Sampling{Temperature: 0, TopP: 1, RepetitionPenalty: 1}
		g.Fill(&s, func(string) bool { return false })
		how := "takes the likeliest token"
		if s.DoSample {
			how = fmt.Sprintf("draws, temperature %g, top_k %d, top_p %g", s.Temperature, s.TopK, s.TopP)
		}
		add("generates", how)
	}
	add("licence", licence(path))
	return facts, nil
}

// weightFacts are the bytes of the weights by how they are stored.
func weightFacts(path string) (facts []report.Fact, err error) {
	src, err := model.OpenWeights(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	type sum struct{ tensors, values int }
	by, all := map[string]sum{}, sum{}
	for _, name := range src.Names() {
		i, _ := src.Info(name)
		s := by[i.DType]
		by[i.DType] = sum{s.tensors + 1, s.values + i.Len()}
		all = sum{all.tensors + 1, all.values + i.Len()}
	}
	size := int64(0)
	for _, f := range src.Files() {
		st, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		size += st.Size()
	}
	facts = report.Facts("weights", fmt.Sprintf("%d tensors, %d values, %s", all.tensors, all.values, storage.Size(size)))
	for _, dtype := range slices.Sorted(maps.Keys(by)) {
		facts = append(facts, report.NewFact("stored as "+dtype, fmt.Sprintf("%d tensors, %d values", by[dtype].tensors, by[dtype].values)))
	}
	return facts, nil
}

// tokenizerFact says what the tokenizer is, or why there is none.
func tokenizerFact(path string) string {
	t, err := tokenize.Load(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d tokens", t.VocabSize())
}

// templateFact names the chat templates.
func templateFact(path string) string {
	set, err := chat.Load(path)
	switch {
	case err != nil:
		return err.Error()
	case len(set) == 0:
		return "none: a base model, which continues text"
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// licence is what the model card says, or the name of the file with a licence.
func licence(path string) string {
	card, err := storage.ReadSmall(filepath.Join(path, "README.md"), storage.KindConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	lines := bufio.NewScanner(bytes.NewReader(card))
	for n := 0; lines.Scan(); n++ {
		if line := strings.TrimSpace(lines.Text()); n == 0 && line != "---" || n > 0 && line == "---" {
			break // only what stands before the text is YAML
		}
		if name, ok := strings.CutPrefix(lines.Text(), "license:"); ok {
			return strings.Trim(strings.TrimSpace(name), `"'`)
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if name := strings.ToUpper(e.Name()); strings.HasPrefix(name, "LICENSE") || strings.HasPrefix(name, "LICENCE") {
			return "see " + e.Name()
		}
	}
	return "not named: no license in README.md and no file LICENSE"
}
