// Package rewards scores answers: a row a reward function, under the names of TRL's where TRL has it. Some go by the text alone, some
// compare
// it with a right answer, and some ask others: a trained reward model, a program, an endpoint. A program of a user's own adds a row by
// [Register].
package rewards
