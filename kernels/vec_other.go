package kernels

func vec() *vecSet { return &plainVec }
