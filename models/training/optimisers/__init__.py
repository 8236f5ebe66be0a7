"""What moves the parameters: Adam, and Muon for hidden layers."""
