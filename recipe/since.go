package recipe

import "reflect"

// before is the recipe without the keys that the first version had not (tag since) and that have their default: its hash is the
// one that the first version gave.
func (r *Recipe) before() any {
	def := Default()
	return without(reflect.ValueOf(r).Elem(), reflect.ValueOf(&def).Elem()).Interface()
}

// without copies a struct less the fields with a tag since that have their default.
func without(v, def reflect.Value) reflect.Value {
	var fields []reflect.StructField
	var values []reflect.Value
	for i := range v.NumField() {
		f, x := v.Type().Field(i), v.Field(i)
		if f.Tag.Get("since") != "" && reflect.DeepEqual(x.Interface(), def.Field(i).Interface()) {
			continue
		}
		if x.Kind() == reflect.Struct {
			x = without(x, def.Field(i))
		}
		fields = append(fields, reflect.StructField{Name: f.Name, Type: x.Type(), Tag: f.Tag})
		values = append(values, x)
	}
	out := reflect.New(reflect.StructOf(fields)).Elem()
	for i, x := range values {
		out.Field(i).Set(x)
	}
	return out
}
