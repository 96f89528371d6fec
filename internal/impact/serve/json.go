package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"noether/internal/impact/value"
)

// maxDepth bounds how deep lists and maps may be in each other.
const maxDepth = 100

// parseJSON reads one JSON value. Objects keep the order of their keys, of two
// equal keys the last counts.
func parseJSON(src []byte) (value.Value, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	v, err := jsonValue(d, 0)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is text behind the value")
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return v, err
}

func jsonValue(d *json.Decoder, depth int) (value.Value, error) {
	t, err := d.Token()
	if err != nil {
		return value.Value{}, err
	}
	switch t := t.(type) {
	case nil:
		return value.NullValue(), nil
	case bool:
		return value.OfBool(t), nil
	case string:
		return value.Text(t), nil
	case json.Number:
		f, err := strconv.ParseFloat(t.String(), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return value.Value{}, err
		}
		return value.Of(f), nil
	case json.Delim:
		if depth == maxDepth {
			return value.Value{}, errors.New("lists and maps are nested deeper than " + strconv.Itoa(maxDepth))
		}
		if t == '[' {
			return jsonList(d, depth+1)
		}
		return jsonMap(d, depth+1)
	}
	return value.Value{}, errors.New("unknown token")
}

func jsonList(d *json.Decoder, depth int) (value.Value, error) {
	items := []value.Value{}
	for d.More() {
		item, err := jsonValue(d, depth)
		if err != nil {
			return value.Value{}, err
		}
		items = append(items, item)
	}
	_, err := d.Token()
	return value.List(items), err
}

func jsonMap(d *json.Decoder, depth int) (value.Value, error) {
	o := value.NewObject(4)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return value.Value{}, err
		}
		key, ok := t.(string)
		if !ok {
			return value.Value{}, errors.New("a key is no text")
		}
		v, err := jsonValue(d, depth)
		if err != nil {
			return value.Value{}, err
		}
		o.Set(key, v)
	}
	_, err := d.Token()
	return o.Value(), err
}
