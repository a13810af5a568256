package rules

import "math"

// UnigramLogProb drops documents of unlikely words: the mean log probability of the words by a table of counts (peS2o: Soldaini and Lo
// 2023). The table is a CSV file with the columns word and count, as the English word frequencies that the reference downloads.
type UnigramLogProb struct {
	FrequencyFile     string  `yaml:"frequency_file" json:"frequency_file" help:"CSV with the columns word and count"`
	LogprobsThreshold float64 `yaml:"logprobs_threshold" json:"logprobs_threshold" help:"least mean log-probability of a word"`

	log map[string]float64
}

// NewUnigramLogProb returns the reference's threshold.
func NewUnigramLogProb() *UnigramLogProb { return &UnigramLogProb{LogprobsThreshold: -10} }

// Name is "unigram_log_prob".
func (*UnigramLogProb) Name() string { return "unigram_log_prob" }

// Files implements [Reader].
func (u *UnigramLogProb) Files() []string { return []string{u.FrequencyFile} }

// Check implements [Reader]; there is nothing to check.
func (*UnigramLogProb) Check() error { return nil }

// Move implements [Reader].
func (u *UnigramLogProb) Move(place func(string) (string, error)) error {
	return move(&u.FrequencyFile, place)
}

// Prepare reads the table.
func (u *UnigramLogProb) Prepare() error {
	counts, err := readCounts(u.Name(), u.FrequencyFile)
	if err != nil {
		return err
	}
	u.use(counts)
	return nil
}

func (u *UnigramLogProb) use(counts map[string]float64) {
	total := 0.0
	for _, n := range counts {
		total += n // whole numbers: the order does not matter
	}
	u.log = make(map[string]float64, len(counts))
	for w, n := range counts {
		u.log[w] = math.Log(n / total)
	}
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
