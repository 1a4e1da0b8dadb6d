"""Collections in the forms that other frameworks know: LangChain, LlamaIndex, Haystack.

Each module needs the extra of its name, and tells it where that is missing:

    from lexhound.serve.integrations.langchain import LexhoundRetriever, LexhoundVectorStore
    from lexhound.serve.integrations.llamaindex import LexhoundRetriever, LexhoundVectorStore
    from lexhound.serve.integrations.haystack import LexhoundDocumentStore, LexhoundHybridRetriever
"""
