package rules

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// UnigramLogProb drops documents of unlikely words: the mean log probability of the words by a table of counts (peS2o: Soldaini and Lo 2023).
// The table is a CSV file with the columns word and count, as the English word frequencies that the reference downloads.
type UnigramLogProb struct {
	FrequencyFile     string  `yaml:"frequency_file" json:"frequency_file"`
	LogprobsThreshold float64 `yaml:"logprobs_threshold" json:"logprobs_threshold"`

	log map[string]float64
}

// NewUnigramLogProb returns the reference's threshold.
func NewUnigramLogProb() *UnigramLogProb { return &UnigramLogProb{LogprobsThreshold: -10} }

// Name is "unigram_log_prob".
func (*UnigramLogProb) Name() string { return "unigram_log_prob" }

// Prepare reads the table.
func (u *UnigramLogProb) Prepare() error {
	if u.FrequencyFile == "" {
		return errors.New("unigram_log_prob: frequency_file names no file; it is a CSV file with the columns word and count")
	}
	f, err := storage.OpenReaderAt(u.FrequencyFile)
	if err != nil {
		return fmt.Errorf("unigram_log_prob: %w", err)
	}
	defer f.Close()
	return u.load(storage.NewReader(f))
}

func (u *UnigramLogProb) load(r io.Reader) error {
	c := csv.NewReader(r)
	head, err := c.Read()
	if err != nil || len(head) < 2 || head[0] != "word" || head[1] != "count" {
		return fmt.Errorf("unigram_log_prob: %s does not begin with the columns word and count", u.FrequencyFile)
	}
	counts := map[string]float64{}
	total := 0.0
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unigram_log_prob: %s: %w", u.FrequencyFile, err)
		}
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return fmt.Errorf("unigram_log_prob: %s: the count of %q is %q", u.FrequencyFile, row[0], row[1])
		}
		counts[row[0]] = n
		total += n
	}
	u.log = make(map[string]float64, len(counts))
	for w, n := range counts {
		u.log[w] = math.Log(n / total)
	}
	return nil
}

// LogProb is the mean log probability of the words; a word without a count has probability 1e-9.
func (u *UnigramLogProb) LogProb(words []string) float64 {
	if len(words) == 0 {
		return 0
	}
	sum := 0.0
	for _, w := range words {
		l, ok := u.log[lower(w)]
		if !ok {
			l = math.Log(1e-9)
		}
		sum += l
	}
	return sum / float64(len(words))
}

// Apply compares the mean with the threshold.
func (u *UnigramLogProb) Apply(d *Doc) Verdict {
	if x := u.LogProb(d.Words()); !(x > u.LogprobsThreshold) {
		return drop("unlikely_words", x, u.LogprobsThreshold)
	}
	return keep(d)
}
