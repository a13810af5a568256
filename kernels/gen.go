package kernels

//go:generate sh -c "cd _gen && go run ./vec -out ../vec_amd64.s -stubs ../vec_stubs_amd64.go -pkg kernels && go run ./gemm -out ../gemm_amd64.s -stubs ../gemm_stubs_amd64.go -pkg kernels && go run ./bf16 -out ../bf16_amd64.s -stubs ../bf16_stubs_amd64.go -pkg kernels && go run ./thin -out ../thin_amd64.s -stubs ../thin_stubs_amd64.go -pkg kernels && go run ./int8 -out ../int8_amd64.s -stubs ../int8_stubs_amd64.go -pkg kernels && go run ./few -out ../few_amd64.s -stubs ../few_stubs_amd64.go -pkg kernels && go run ./wrap .."
