package jobs

// PrismAt is HOST:PORT of this process's Prism, which runs.
func PrismAt() string { return inProcess.target }
