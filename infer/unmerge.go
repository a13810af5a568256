package infer

// Unmerge writes the base model that a merged model was made of: the model in dir with the adapter taken out of its weights.
func Unmerge(dir, adapter, to, dtype string) error {
	if err := vacant(to); err != nil {
		return err
	}
	m, err := Load(dir, "", adapter)
	if err != nil {
		return err
	}
	defer m.Close()
	params, err := m.Adapter.NewParams(1)
	if err != nil {
		return err
	}
	defer params.Free()
	changed, err := m.Adapter.Unmerge(params, 0, m.Base.Tensor)
	if err != nil {
		return err
	}
	return m.Base.Save(to, dtype, changed)
}
