package storage

import "errors"

// ErrInUse is wrapped by the error of an output folder that another run holds, or that holds what is not to be written over: another
// recipe's run, a model.
var ErrInUse = errors.New("the output folder is in use")
