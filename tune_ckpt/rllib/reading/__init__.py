"""What any checkpoint of RLlib's holds, as plain data: nothing in it is imported or called."""
