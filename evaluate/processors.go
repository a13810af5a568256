package evaluate

import "slices"

// repetitionPenalty divides the positive logits of tokens that have occurred, and multiplies the negative ones (Keskar et al. 2019,
// arXiv:1909.05858).
func repetitionPenalty(s *Sampling, l []float32, c Context) {
	if s.RepetitionPenalty == 0 || s.RepetitionPenalty == 1 {
		return
	}
	p := float32(s.RepetitionPenalty)
	done := map[int32]bool{}
	for _, id := range c.Seen {
		if done[id] {
			continue
		}
		done[id] = true
		if l[id] < 0 {
			l[id] *= p
		} else {
			l[id] /= p
		}
	}
}

// logitBias adds to the logits of tokens.
func logitBias(s *Sampling, l []float32, _ Context) {
	for id, b := range s.LogitBias {
		if id >= 0 && int(id) < len(l) {
			l[id] += float32(b)
		}
	}
}

// frequencyPenalty lowers the logits of tokens that have been generated: by presence_penalty, and by frequency_penalty for each time.
func frequencyPenalty(s *Sampling, l []float32, c Context) {
	if s.FrequencyPenalty == 0 && s.PresencePenalty == 0 {
		return
	}
	times := map[int32]int{}
	for _, id := range c.Seen[c.Prompt:] {
		times[id]++
	}
	for id, n := range times {
		l[id] -= float32(s.FrequencyPenalty)*float32(n) + float32(s.PresencePenalty)
	}
}

// noRepeatNgram bans each token that would complete an n-gram that has occurred.
func noRepeatNgram(s *Sampling, l []float32, c Context) {
	n := s.NoRepeatNgramSize
	if n == 0 || len(c.Seen) < n {
		return
	}
	last := c.Seen[len(c.Seen)-n+1:]
	for i := 0; i+n <= len(c.Seen); i++ {
		if slices.Equal(c.Seen[i:i+n-1], last) {
			l[c.Seen[i+n-1]] = never
		}
	}
}

// badWords bans the token that would complete a word of bad_words_ids.
func badWords(s *Sampling, l []float32, c Context) {
	for _, w := range s.BadWordsIDs {
		head := w[:len(w)-1]
		if len(head) <= len(c.Seen) && slices.Equal(c.Seen[len(c.Seen)-len(head):], head) {
			ban(l, w[len(w)-1])
		}
	}
}

// minNewTokens bans the end of the text until the continuation is long enough.
func minNewTokens(s *Sampling, l []float32, c Context) {
	if len(c.Seen)-c.Prompt < s.MinNewTokens {
		for _, id := range c.EOS {
			ban(l, id)
		}
	}
}

func suppress(s *Sampling, l []float32, _ Context) {
	for _, id := range s.SuppressTokens {
		ban(l, id)
	}
}

func ban(l []float32, id int32) {
	if id >= 0 && int(id) < len(l) {
		l[id] = never
	}
}
