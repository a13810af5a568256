package layers

//go:generate go test -count=1 -run ^TestPicture$ . -update

// Folder is a top folder of the module.
type Folder struct {
	Name string
	What string // what lives there, in a few words
}

// Rows lists the top folders, lowest first. A package imports only packages of rows before its own, and of its own top folder;
// folders of one row never import each other.
var Rows = [][]Folder{
	{{"internal", "files, safetensors, random numbers, threads, memory, what tests share"}},
	{{"kernels", "products, attention, norms over slices: plain Go and generated assembly"}},
	{{"quant", "how a frozen weight is stored"}},
	{{"nn", "differentiable ops, the program of them, its memory"}},
	{{"model", "a file a family: the forward wiring"}, {"peft", "a file a method; adapter folders, merging"}},
	{{"tokenize", "tokenizer.json to ids; chat templates"}, {"datasets", "rows, input formats, packing, shards"}},
	{{"train", "objectives, optimisers, the loop, checkpoints"}, {"evaluate", "metrics, sampling"}},
	{{"infer", "a loaded model that answers, with adapters by name"}},
	{{"rewards", "a file a reward of answers"}},
	{{"measure", "a file a measure"}, {"export", "a file an export format"},
		{"serve", "the OpenAI-compatible server of a base and many adapters"}},
	{{"recipe", "one YAML document to the owners' settings"}},
	{{"transforms", "Beam transforms and their DoFns, a package a stage"}},
	{{"templates", "the recipes that are built in"}},
	{{"pipelines", "whole runs, and the rooms that they are made of"}},
	{{"cmd", "the command: flags only"}, {"examples", "programs that use the library"}},
	{{"interop", "checks against the real peers"}},
}

// Rooms lists the folders of pipelines/, lowest first. A room imports only rooms before its own, and what lies below it.
var Rooms = []Folder{
	{"vocabulary", "vocabularies, trained and extended"},
	{"runners", "where Beam runs; the program as its worker"},
	{"drive", "a training job driven through a runner"},
	{"report", "what people are shown"},
	{"track", "trackers that follow a training: MLflow, TensorBoard, lines of JSON"},
	{"run", "a run and its records"},
	{"kinds", "a file and a row a kind of run"},
	{"inspect", "what files and folders hold"},
	{"bench", "measurements of this machine"},
}

// BeamFolders may import Beam. A program that only wants model, peft and train builds small.
var BeamFolders = []string{"transforms", "pipelines", "cmd", "interop"}

// BeamExamples are the examples that show something with Beam; the others build small.
var BeamExamples = []string{"examples/rule"}
