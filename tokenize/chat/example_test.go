package chat_test

import (
	"fmt"
	"log"

	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// A chat template, which [chat.Load] finds in a model's folder, makes one text of a conversation.
func ExampleTemplate_Render() {
	t, err := chat.New(`{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`, map[string]string{"eos_token": "</s>"})
	if err != nil {
		log.Fatal(err)
	}
	conversation := chat.Conversation{Messages: []byte(`[{"role": "user", "content": "When does the ferry leave?"}]`)}
	r, err := t.Render(conversation, chat.Options{AddGenerationPrompt: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Text)
	// Output:
	// <|user|>When does the ferry leave?</s>
	// <|assistant|>
}
