"""BERT and its kin (RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT) without torch: files in, hidden states out."""
