package datasets

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// PurposeMix orders the documents of a source for mixing.
const PurposeMix = "mix"

// How long a mix is, named as Hugging Face's interleave_datasets.
const (
	// AllExhausted uses every document at least once; documents of sources that would run out are repeated.
	AllExhausted = "all_exhausted"
	// FirstExhausted repeats no document; of sources that would be left over, documents are left out.
	FirstExhausted = "first_exhausted"
)

// Reasons why mixing leaves a document out.
const (
	ReasonMaxDocuments = "max_documents"
	ReasonMaxTokens    = "max_tokens"
	ReasonShare        = "share" // the source's share of the mix is smaller than the source
)

// MixSource is a named part of the corpus.
type MixSource struct {
	Name string `yaml:"-"`
	// Weight is 0 in all sources where there are none. The caps hold before shares are computed.
	Weight       float64 `yaml:"weight" bounds:"[0,)" help:"share of the tokens trained on, over the sum of all weights; every source has one, or none"`
	MaxDocuments int64   `yaml:"max_documents" bounds:"[0,1e18]" help:"most documents; 0 for no cap"`
	MaxTokens    int64   `yaml:"max_tokens" bounds:"[0,1e18]" help:"most tokens; 0 for no cap"`
}

// Mix says how much of each source is trained on. Without weights and temperature every document is used once, within the caps.
type Mix struct {
	Sources []MixSource `yaml:"-"`
	// Temperature T makes the shares p_i ∝ n_i^(1/T) of the sources' tokens n_i: 1 is proportional, larger is more even. It is the sampling
	// of languages of mT5 (Xue et al. 2021), whose α = 1/T is XLM-R's (Conneau et al. 2020; 0.3, so T = 3.33). 0 for none.
	Temperature float64 `yaml:"sampling_temperature" bounds:"[0,)" help:"share of each source as its tokens to the power 1/temperature: 1 in proportion, 3.33 as XLM-R samples languages; 0 uses every document once"`
	// Strategy is AllExhausted or FirstExhausted.
	Strategy string `yaml:"stopping_strategy" enum:"all_exhausted,first_exhausted" help:"how weights and sampling_temperature are reached: documents of small sources are repeated (all_exhausted) or of large ones left out (first_exhausted)"`
}

// On says whether anything is mixed or capped.
func (m *Mix) On() bool {
	return m.shared() || slices.ContainsFunc(m.Sources, func(s MixSource) bool { return s.MaxDocuments > 0 || s.MaxTokens > 0 })
}

func (m *Mix) shared() bool { return m.Temperature > 0 || m.weighted() }

func (m *Mix) weighted() bool {
	return slices.ContainsFunc(m.Sources, func(s MixSource) bool { return s.Weight > 0 })
}

// Validate checks the settings.
func (m *Mix) Validate() error {
	if err := settings.Check(m); err != nil {
		return err
	}
	if m.Temperature > 0 && len(m.Sources) == 0 {
		return fmt.Errorf("sampling_temperature is set, but there are no sources to sample from: name them with data.sources")
	}
	for _, s := range m.Sources {
		switch {
		case s.Name == "":
			return fmt.Errorf("a source has no name")
		case m.weighted() && s.Weight == 0:
			return fmt.Errorf("source %s has no weight and another has: give all of them one, or none", s.Name)
		case m.Temperature > 0 && s.Weight > 0:
			return fmt.Errorf("source %s has a weight and sampling_temperature is %g: shares come from one of the two",
				s.Name, m.Temperature)
		}
		if err := settings.Check(s); err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	return nil
}

// Shares are the sources' shares of the mix, given their tokens; a source without tokens has none. They add up to 1.
func (m *Mix) Shares(tokens []int64) []float64 {
	out, sum := make([]float64, len(tokens)), 0.0
	for i, n := range tokens {
		if n == 0 {
			continue
		}
		switch {
		case m.weighted():
			out[i] = m.Sources[i].Weight
		case m.Temperature > 0:
			out[i] = math.Pow(float64(n), 1/m.Temperature)
		default:
			out[i] = float64(n)
		}
		sum += out[i]
	}
	for i := range out {
		out[i] /= max(sum, math.SmallestNonzeroFloat64)
	}
	return out
}

// Targets are the tokens that each source gives to the mix, given its tokens: in the ratio of the shares, and such that the first source is
// just used up (FirstExhausted) or the last (AllExhausted).
func (m *Mix) Targets(tokens []int64) []int64 {
	p := m.Shares(tokens)
	scale := 0.0
	for i, n := range tokens {
		if p[i] == 0 {
			continue
		}
		if s := float64(n) / p[i]; scale == 0 || (s < scale) == (m.Strategy == FirstExhausted) {
			scale = s
		}
	}
	out := make([]int64, len(tokens))
	for i, n := range tokens {
		if out[i] = int64(math.Round(scale * p[i])); m.Strategy == FirstExhausted {
			out[i] = min(out[i], n)
		} else {
			out[i] = max(out[i], n)
		}
	}
	return out
}

// Bound is a beginning of a source's documents in the order of their PurposeMix hash: those below Below, or all.
type Bound struct {
	On    bool   `json:"on,omitempty"`
	Below uint64 `json:"below,omitempty"`
	// Documents and Tokens are those within.
	Documents int64 `json:"documents"`
	Tokens    int64 `json:"tokens"`
}

// Has says whether a document is within.
func (b Bound) Has(hash uint64) bool { return !b.On || hash < b.Below }

// Quota is what mixing does with the documents of one source.
type Quota struct {
	Cap    Bound  // documents beyond are left out
	Reason string // of leaving out what is beyond Cap
	Limit  int64  // that Cap keeps to
	// Whole is how often each document within Cap is used, Part those that are used once more.
	Whole int
	Part  Bound
}

// Copies is how often a document of this PurposeMix hash is used; the reason says why where it is 0.
func (q *Quota) Copies(hash uint64) (n int, reason string) {
	if !q.Cap.Has(hash) {
		return 0, q.Reason
	}
	n = q.Whole
	if q.Part.Has(hash) {
		n++
	}
	if n == 0 {
		return 0, ReasonShare
	}
	return n, ""
}

// CopyID is the identity under which the n-th copy of a document is ordered and assigned to a shard: the document's own for the first, n =
// 0.
func CopyID(docID string, n int) string {
	if n == 0 {
		return docID
	}
	return docID + "*" + strconv.Itoa(n)
}

// MixEntry is what mixing needs to know of a document.
type MixEntry struct {
	Hash   uint64 // of PurposeMix
	Tokens int64
}

// HistogramBins is the number of ranges of hashes that a [Histogram] counts.
const HistogramBins = 4096

// Histogram counts documents and tokens by ranges of their PurposeMix hash: [2][HistogramBins], documents and tokens.
type Histogram [2][]int64

// NewHistogram returns an empty one.
func NewHistogram() Histogram {
	return Histogram{make([]int64, HistogramBins), make([]int64, HistogramBins)}
}

// BinOf is the range of a hash.
func BinOf(hash uint64) int { return ShardOf(hash, HistogramBins) }

// Add counts a document.
func (h Histogram) Add(e MixEntry) {
	b := BinOf(e.Hash)
	h[0][b]++
	h[1][b] += e.Tokens
}

// Merge adds another histogram.
func (h Histogram) Merge(o Histogram) {
	for k := range h {
		for b, n := range o[k] {
			h[k][b] += n
		}
	}
}

// Total counts all documents and tokens.
func (h Histogram) Total() (documents, tokens int64) {
	for b := range h[0] {
		documents, tokens = documents+h[0][b], tokens+h[1][b]
	}
	return documents, tokens
}

// Find is the range in which a beginning of at most documents and tokens ends (negative: no limit), and what lies before that range; -1
// where all is within.
func (h Histogram) Find(documents, tokens int64) (bin int, before Bound) {
	for b := range h[0] {
		d, t := before.Documents+h[0][b], before.Tokens+h[1][b]
		if documents >= 0 && d > documents || tokens >= 0 && t > tokens {
			return b, before
		}
		before.Documents, before.Tokens = d, t
	}
	return -1, before
}

// Cut ends a beginning inside the range that [Histogram.Find] found, given all documents of that range.
func Cut(before Bound, in []MixEntry, documents, tokens int64) Bound {
	slices.SortFunc(in, func(a, b MixEntry) int {
		switch {
		case a.Hash < b.Hash:
			return -1
		case a.Hash > b.Hash:
			return 1
		}
		return int(a.Tokens - b.Tokens)
	})
	for _, e := range in {
		d, t := before.Documents+1, before.Tokens+e.Tokens
		if documents >= 0 && d > documents || tokens >= 0 && t > tokens {
			before.On, before.Below = true, e.Hash
			return before
		}
		before.Documents, before.Tokens = d, t
	}
	panic("datasets: Cut wants all documents of the range")
}
