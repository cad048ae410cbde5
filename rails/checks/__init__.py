"""The rails themselves: how a reply is read and judged; what they judge by is the task's."""
