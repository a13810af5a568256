package evaluate

import "math"

func temperature(s *Sampling, l []float32, _ Context) {
	if s.Temperature == 0 || s.Temperature == 1 {
		return
	}
	t := float32(s.Temperature)
	for i := range l {
		l[i] /= t
	}
}

// topK keeps the k likeliest tokens (Fan, Lewis and Dauphin 2018, arXiv:1805.04833).
func topK(s *Sampling, l []float32, _ Context) {
	k := max(s.TopK, s.keep())
	if s.TopK == 0 || k >= len(l) {
		return
	}
	limit := l[descending(l)[k-1]]
	for i := range l {
		if l[i] < limit {
			l[i] = never
		}
	}
}

// topP keeps the likeliest tokens of probability top_p in all (Holtzman et al. 2020, arXiv:1904.09751): those whose cumulative probability
// from the least likely up is at most 1 - top_p go.
func topP(s *Sampling, l []float32, _ Context) {
	if s.TopP == 0 || s.TopP == 1 {
		return
	}
	p, o := Softmax(l), descending(l)
	sum := 0.0
	for i := len(o) - 1; i >= s.keep(); i-- {
		sum += p[o[i]]
		if sum > 1-s.TopP {
			break
		}
		l[o[i]] = never
	}
}

// minP keeps the tokens of at least min_p times the likeliest one's probability (Nguyen et al. 2024, arXiv:2407.01082).
func minP(s *Sampling, l []float32, _ Context) {
	if s.MinP == 0 {
		return
	}
	p, o := Softmax(l), descending(l)
	for _, i := range o[min(s.keep(), len(o)):] {
		if p[i] < s.MinP*p[o[0]] {
			l[i] = never
		}
	}
}

// typicalP keeps the tokens whose information is nearest to the entropy, of probability typical_p in all (Meister et al. 2022,
// arXiv:2202.00666).
func typicalP(s *Sampling, l []float32, _ Context) {
	if s.TypicalP == 0 || s.TypicalP == 1 {
		return
	}
	p := Softmax(l)
	h := entropy(p)
	far := make([]float32, len(l)) // minus the distance, so that the nearest come first
	for i, v := range p {
		far[i] = -float32(math.Abs(-math.Log(v) - h))
	}
	o := descending(far)
	sum, last := 0.0, 0
	for _, i := range o {
		if sum += p[i]; sum >= s.TypicalP {
			break
		}
		last++
	}
	last = min(last, len(o)-1)
	limit := far[o[last]]
	for k, i := range o {
		if k >= s.keep() && far[i] < limit {
			l[i] = never
		}
	}
}

// epsilonCutoff keeps the tokens of at least that probability, and the likeliest (Hewitt, Manning and Liang 2022, arXiv:2210.15191).
func epsilonCutoff(s *Sampling, l []float32, _ Context) {
	if s.EpsilonCutoff > 0 {
		cut(s, l, Softmax(l), s.EpsilonCutoff)
	}
}

// etaCutoff is epsilon_cutoff with a bound that falls where the distribution is flat (the same paper).
func etaCutoff(s *Sampling, l []float32, _ Context) {
	if s.EtaCutoff > 0 {
		p := Softmax(l)
		cut(s, l, p, min(s.EtaCutoff, math.Sqrt(s.EtaCutoff)*math.Exp(-entropy(p))))
	}
}

func cut(s *Sampling, l []float32, p []float64, least float64) {
	limit := l[descending(l)[min(s.keep(), len(l))-1]]
	for i := range l {
		if p[i] < least && l[i] < limit {
			l[i] = never
		}
	}
}

func entropy(p []float64) float64 {
	h := 0.0
	for _, v := range p {
		if v > 0 {
			h -= v * math.Log(v)
		}
	}
	return h
}
